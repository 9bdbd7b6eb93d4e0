"""Subtraction problems as published: the band to clean in Hz, and the channels that witness it.

From the LIGO, Virgo and KAGRA DeepClean studies of O3 and O4 (Virgo, O3b: arXiv:2410.06220), those
that the simulated sites show by default. Channels are named without the interferometer's prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Problem: TypeAlias = tuple[tuple[float, float], tuple[str, ...]]
"""Band and witnesses."""


def _problem(low: float, high: float, witnesses: str) -> Problem:
    return (low, high), tuple(witnesses.split())


PUBLISHED: Mapping[str, Mapping[str, Problem]] = {
    "H1": {
        "60Hz": _problem(
            55.0,
            65.0,
            """
            PEM-CS_MAINSMON_EBAY_1_DQ ASC-INP1_P_IN1_DQ ASC-INP1_Y_IN1_DQ ASC-MICH_P_IN1_DQ
            ASC-MICH_Y_IN1_DQ ASC-PRC1_P_IN1_DQ ASC-PRC1_Y_IN1_DQ ASC-PRC2_P_IN1_DQ
            ASC-PRC2_Y_IN1_DQ ASC-SRC1_P_IN1_DQ ASC-SRC1_Y_IN1_DQ ASC-SRC2_P_IN1_DQ
            ASC-SRC2_Y_IN1_DQ ASC-DHARD_P_IN1_DQ ASC-DHARD_Y_IN1_DQ ASC-CHARD_P_IN1_DQ
            ASC-CHARD_Y_IN1_DQ ASC-DSOFT_P_IN1_DQ ASC-DSOFT_Y_IN1_DQ ASC-CSOFT_P_IN1_DQ
            ASC-CSOFT_Y_IN1_DQ
            """,
        ),
        "105Hz": _problem(
            104.0,
            109.0,
            """
            IMC-F_OUT_DQ PEM-CS_ACC_PSL_TABLE1_X_DQ PEM-CS_ACC_PSL_TABLE1_Z_DQ
            IMC-WFS_B_Q_PIT_OUT_DQ IMC-WFS_A_DC_PIT_OUT_DQ LSC-MCL_IN1_DQ
            IMC-WFS_B_DC_YAW_OUT_DQ IMC-L_OUT_DQ IMC-DOF_2_P_IN1_DQ IMC-WFS_A_DC_YAW_OUT_DQ
            LSC-MCL_OUT_DQ PEM-CS_ACC_PSL_PERISCOPE_X_DQ IMC-DOF_4_Y_IN1_DQ
            IMC-WFS_B_I_PIT_OUT_DQ
            """,
        ),
    },
    "L1": {
        "60Hz": _problem(
            58.0,
            62.0,
            """
            PEM-CS_MAINSMON_EBAY_1_DQ ASC-CHARD_P_IN1_DQ ASC-CHARD_Y_IN1_DQ ASC-CSOFT_P_IN1_DQ
            ASC-DHARD_P_IN1_DQ ASC-DHARD_Y_IN1_DQ ASC-DSOFT_P_IN1_DQ ASC-INP1_P_IN1_DQ
            ASC-MICH_P_IN1_DQ ASC-MICH_Y_IN1_DQ ASC-PRC1_P_IN1_DQ ASC-PRC1_Y_IN1_DQ
            ASC-PRC2_P_IN1_DQ ASC-PRC2_Y_IN1_DQ ASC-SRC1_P_IN1_DQ ASC-SRC1_Y_IN1_DQ
            ASC-SRC2_P_IN1_DQ ASC-SRC2_Y_IN1_DQ
            """,
        ),
    },
    "K1": {
        "60Hz_mains_only": _problem(
            55.0,
            65.0,
            """
            PEM-MIC_BS_BOOTH_BS_Z_OUT_DQ PEM-MIC_BS_FIELD_BS_Z_OUT_DQ
            PEM-MIC_BS_TABLE_POP_Z_OUT_DQ PEM-MIC_IXC_BOOTH_IXC_Z_OUT_DQ
            PEM-MIC_IXC_FIELD_IXC_Z_OUT_DQ PEM-MIC_IYC_BOOTH_IYC_Z_OUT_DQ
            PEM-MIC_OMC_BOOTH_OMC_Z_OUT_DQ PEM-MIC_OMC_TABLE_AS_Z_OUT_DQ
            PEM-MIC_TMSX_TABLE_TMS_Z_OUT_DQ
            """,
        ),
    },
    "V1": {
        "15-20Hz": _problem(
            15.0,
            20.0,
            """
            CAL_WE_MAR_Z_CORR CAL_NE_MAR_Z_CORR Sc_BS_MAR_Z_CORR SPRB_B4_PD1_56MHz_Q
            Sc_BS_MIR_LSC_CORR
            """,
        ),
        "33-39Hz": _problem(
            33.0,
            39.0,
            """
            CAL_NE_MIR_Z_NOISE SNEB_Tpro_processed_packets SDB_EDB_Tpro_processed_packets
            INJ_Tpro_processed_packets
            """,
        ),
        "55-65Hz": _problem(
            55.0,
            65.0,
            """
            CAL_WE_MIR_Z_NOISE CAL_NE_MIR_Z_CORR CAL_BS_MIR_Z_CORR
            SDB_EDB_Tpro_processed_packets SUSP_SBE_Tpro_processed_packets
            SWEB_Clock_10MHz_phi
            """,
        ),
        "75-80Hz": _problem(
            75.0,
            80.0,
            """
            CAL_NE_MIR_Z_NOISE SNEB_Tpro_processed_packets SDB_EDB_Tpro_processed_packets
            """,
        ),
        "98-110Hz": _problem(
            98.0,
            110.0,
            """
            CAL_WE_MIR_Z_NOISE CAL_NE_MIR_Z_NOISE INJ_IMC_QD_FF_DC_V
            """,
        ),
        "137-139Hz": _problem(
            137.0,
            139.0,
            """
            CAL_NE_MIR_Z_NOISE INJ_Tpro_processed_packets SDB_EDB_Tpro_processed_packets
            SNEB_Tpro_processed_packets SPRB_Tpro_processed_packets
            """,
        ),
        "142-162Hz": _problem(
            142.0,
            162.0,
            """
            LSC_ENV_MAG_INPUT ENV_MAG_CURR_MONI ENV_WEB_MAG_V ENV_WEB_MAG_N ENV_NEB_MAG_W
            ENV_EER_MAG_2 ENV_CEB_MAG_W ENV_CEB_MAG_N ENV_CEB_MAG_V ENV_NEB_MAG_N
            ENV_WEB_MAG_W ENV_MCB_MAG_N ENV_EXT_MAG_W ENV_EXT_MAG_N ENV_CEB_UPS_VOLT_S
            ENV_CEB_UPS_VOLT_T ENV_MCB_IPS_CURR_R ENV_MCB_IPS_CURR_T ENV_MCB_UPS_VOLT_R
            ENV_NEB_UPS_VOLT_T ENV_CEB_ELECTRIC ENV_CEB_IPS_VOLT_R ENV_CEB_IPS_VOLT_T
            ENV_MCB_IPS_CURR_S ENV_CEB_IPS_VOLT_S ENV_MCB_UPS_CURR_S ENV_MCB_UPS_CURR_T
            ENV_NEB_IPS_VOLT_S ENV_NEB_IPS_VOLT_R ENV_NEB_IPS_VOLT_T ENV_NEB_UPS_VOLT_R
            ENV_NEB_UPS_VOLT_S ENV_WEB_IPS_VOLT_R ENV_WEB_IPS_VOLT_S ENV_WEB_UPS_VOLT_S
            ENV_MCB_IPS_VOLT_R ENV_CEB_UPS_VOLT_R ENV_MCB_UPS_CURR_R ENV_MCB_UPS_VOLT_S
            ENV_MCB_IPS_VOLT_S ENV_MCB_IPS_VOLT_T ENV_MCB_UPS_VOLT_T ENV_WEB_IPS_VOLT_T
            ENV_WEB_UPS_VOLT_R ENV_WEB_UPS_VOLT_T ENV_IB_CT_FINGER_ACC_Y ENV_LB_ACC_Z
            ENV_NI_CT_ACC_Z ENV_SQZ_ACC_Y ENV_SQZ_PIPE_ACC_Y ENV_WE_CT_ACC_Z ENV_EIB_ACC_Y
            ENV_IB_CT_ACC_X ENV_NI_LINK_ACC_Z ENV_TCS_CURR_MONI ENV_WI_CT_ACC_Z INJ_IBJM_DC
            INJ_IMC_QD_NF_DC_V INJ_IMC_QD_FF_DC INJ_IMC_QD_FF_I_H INJ_IMC_QD_FF_I_V
            INJ_IMC_QD_NF_DC INJ_IB_tx_err ASC_B5_QD1_H_56MHz_Q ASC_B4_QD1_H_56MHz_I
            ASC_B4_QD1_V_56MHz_Q ASC_B5_QD1_V_56MHz_I ASC_B5_QD1_V_56MHz_Q
            ASC_B4_QD2_V_56MHz_Q ASC_B1p_QD2_V ASC_B1p_QD1_V ASC_B5_QD2_H_56MHz_Q
            ASC_B1p_QD1_V_56MHz_Q ASC_BS_DOF_TY_CORR ASC_DIFFp_TX_ERR SPRB_B4_QD1_H_56MHz_Q
            SPRB_B4_QD1_V_56MHz_I SPRB_B4_QD2_V_56MHz_I SPRB_B4_QD2_V_56MHz_Q
            SPRB_B4_PD1_56MHz_I SDB1_LC_TX_err_pre SDB1_LC_TY_err_pre SDB1_B5_QD1_H
            SBE_EIB_z_500Hz SBE_SIB2_F0_ty_500Hz SBE_SIB2_F0_z_500Hz SDB2_B5_QD1_H_56MHz_I
            SDB2_B5_QD2_H_56MHz_I SDB2_B5_QD2_V_56MHz_I SDB2_B5_56MHz_Q SDB2_B5_PD1_56MHz_Q
            SDB2_B5_QD1_GALVO_V_CORR Sc_IB_INJ_tz SBE_SIB2_GEO_F0H1_raw_500Hz
            SBE_SDB2_F0_H1_LVDT_500Hz SBE_SIB2_F0_H2_LVDT_500Hz SBE_SDB2_F0_H0_LVDT_500Hz
            SBE_SIB2_LVDT_F0H2_raw_500Hz SBE_SIB2_LVDT_F1V_raw_500Hz
            SBE_EIB_geobench0_raw_500Hz SBE_EIB_geobench1_raw_500Hz SBE_EIB_geohor1_raw_500Hz
            SBE_EIB_geomon1_raw_500Hz SBE_SIB2_F0_H1_GEO_500Hz SBE_SIB2_F0_H0_GEO_500Hz
            SBE_SDB2_ACT_F0H0_raw_500Hz SBE_SIB2_F1_y_LVDT_500Hz SBE_SDB2_ACT_F0H2_raw_500Hz
            SBE_SDB2_ACT_F0H1_raw_500Hz SBE_EIB_x_500Hz SBE_EIB_ty_500Hz SBE_EIB_xspring_500Hz
            SIB2_B2_QD2_GALVO_H_CORR SIB2_B2_PD2_Audio SIB2_B2_PD2_8MHz_I SIB2_B2_PD2_6MHz_I
            SIB2_B2_8MHz_I SIB2_B2_6MHz_I SIB2_B2_DC SIB2_B2_PD2_DC SIB2_B2_QD2_Sum
            SIB2_B2_QD2_H
            """,
        ),
        "197-208Hz": _problem(
            197.0,
            208.0,
            """
            CAL_WE_MIR_Z_NOISE INJ_Tpro_processed_packets SDB_EDB_Tpro_processed_packets
            SDB2_Tpro_processed_packets ENV_IB_CT_FINGER_ACC_Y ENV_CEB_MAG_W INJ_IMC_QD_FF_I_H
            INJ_IMC_REFL_I_POST SQZ_CC_Tpro_processed_packets
            """,
        ),
        "247-252Hz": _problem(
            247.0,
            252.0,
            """
            Sc_BS_MIR_PSDF_X2 ENV_WE_CT_ACC_Z ENV_CEB_MAG_N ENV_NEB_MAG_N ENV_NEB_UPS_VOLT_T
            ENV_MAG_CURR_MONI ENV_CEB_IPS_VOLT_T SPRB_POWERSUPPLY_DBOX_LEFT_DOWN_m12V
            TCS_NI_CO2_ISSOUT SQZ_DC_Ext_PLL_Outloop Sc_BS_MIR_Z Sc_SR_MIR_PSDF_PWR
            Sc_WE_WA_Cty BsX_TY
            """,
        ),
        "295-305Hz": _problem(
            295.0,
            305.0,
            """
            CAL_WE_MIR_Z_NOISE ENV_MCB_UPS_CURR_T ENV_MCB_UPS_VOLT_R ENV_WEB_IPS_VOLT_R
            ENV_NEB_IPS_VOLT_T ENV_NEB_IPS_VOLT_R ENV_CEB_IPS_VOLT_S ENV_WEB_IPS_VOLT_T
            ENV_MCB_UPS_VOLT_T ENV_NEB_UPS_VOLT_T ENV_CEB_MAG_N ENV_WEB_MAG_W ENV_EXT_MAG_W
            SUSP_SBE_Tpro_processed_packets SNEB_Tpro_processed_packets INJ_IMC_QD_NF_I_V
            INJ_IMC_QD_FF_I_V INJ_IMC_QD_FF_DC_V
            """,
        ),
        "345-355Hz": _problem(
            345.0,
            355.0,
            """
            ENV_MCB_IPS_VOLT_T ENV_CEB_IPS_VOLT_R ENV_SQZ_PIPE_ACC_Y ENV_WI_CT_ACC_Z
            ENV_IB_CT_ACC_X ENV_EER_MAG_2 INJ_IBJM_DC INJ_IMC_QD_FF_DC INJ_IMC_QD_FF_I_V
            INJ_IMC_QD_NF_DC SIB2_B2_PD2_8MHz_I SPRB_B4_PD1_56MHz_I
            """,
        ),
        "355-367Hz": _problem(
            355.0,
            367.0,
            """
            CAL_WE_MIR_Z_NOISE CAL_NE_MIR_Z_NOISE ENV_EDB_ACC_Z
            SUSP_SBE_Tpro_processed_packets EDB_PC_PD
            """,
        ),
        "395-415Hz": _problem(
            395.0,
            415.0,
            """
            CAL_WE_MIR_Z_NOISE ENV_MCB_IPS_VOLT_T ENV_CEB_UPS_VOLT_R ENV_MCB_UPS_VOLT_R
            ENV_LB_MIC ENV_IB_ACC_X ENV_DT_CT_ACC_Z ENV_SQZ_PIPE_ACC_Y
            SUSP_SBE_Tpro_processed_packets ISC_Tpro_processed_packets
            SIB2_Tpro_processed_packets SDB_EDB_Tpro_processed_packets INJ_IBJM_DC_V
            Sc_MC_INJ_tx INJ_IBJM_DC_H_e INJ_Tpro_processed_packets EDB_PC_DAC_act_ch2
            EDB_PC_DAC_act_ch1 SSFS_Ctrl_Tpro_processed_packets
            """,
        ),
        "548-555Hz": _problem(
            548.0,
            555.0,
            """
            ENV_CEB_MAG_W ENV_WEB_MAG_N ENV_NEB_MAG_N ENV_EER_MAG_2 ENV_NEB_IPS_VOLT_T
            ENV_CEB_IPS_VOLT_T ENV_CEB_UPS_VOLT_R ENV_MCB_UPS_VOLT_R ENV_WE_CT_ACC_Z
            ENV_SQZ_ACC_Y ENV_EXT_MAG_N EDB_PC_PD ENV_SQZ_PIPE_ACC_Y SPRB_B4_56MHz_I
            SPRB_B4_PD1_56MHz_I PSTAB_QD1_DC_V SDB1_LC_COIL_BL_H SQZ_DC_Ext_PLL_Inloop
            DAQ_TDBv2_return_mag SDB2_POWERSUPPLY_DBOX_LEFT_UP_p12V
            """,
        ),
        "598-603Hz": _problem(
            598.0,
            603.0,
            """
            ENV_NEB_MAG_W ENV_CEB_MAG_N ENV_WEB_MAG_W ENV_WEB_MAG_N ENV_NEB_MAG_V
            ENV_NEB_IPS_VOLT_R ENV_WEB_IPS_VOLT_T ENV_WEB_UPS_VOLT_T ENV_NEB_UPS_VOLT_R
            ENV_MCB_UPS_VOLT_S ENV_WEB_UPS_VOLT_R ENV_MCB_UPS_VOLT_R ENV_MCB_UPS_VOLT_T
            ENV_MCB_IPS_VOLT_R ENV_NEB_IPS_VOLT_T EPRB_PC_PD EDB_PC_PD EDB_PC_DAC_V
            SUSP_SBE_Tpro_processed_packets Sc_WI_FF50HZ_P_ERR ISC_Tpro_processed_packets
            """,
        ),
    },
}
